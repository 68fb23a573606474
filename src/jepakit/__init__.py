"""jepakit"""

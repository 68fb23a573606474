"""Fitting an adapter: one training, the choice by held-out pairs, familiarity, tuning of the base model."""

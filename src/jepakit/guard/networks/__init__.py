"""Parts of guard's encoders: hashed texts, documents as rows, attention in windows and over calls."""

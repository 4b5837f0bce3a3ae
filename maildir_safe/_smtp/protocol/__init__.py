"""SMTP and LMTP as the RFCs have them."""

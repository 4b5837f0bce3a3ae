"""The syntax and the rules of SMTP and LMTP, without I/O."""

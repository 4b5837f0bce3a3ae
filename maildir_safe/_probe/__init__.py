"""What does this mount do?"""

"""What is to be known of a synthetic set before it is used: copies, balance, label noise, and what limits students."""

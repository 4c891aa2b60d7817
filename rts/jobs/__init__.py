"""What runs when, who is leader, and the record of each run."""

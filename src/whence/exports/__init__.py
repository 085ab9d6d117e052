"""What others read: a run or home rendered in a form of somebody else."""

"""What VMPooler itself keeps: queues, and VMs' metadata."""

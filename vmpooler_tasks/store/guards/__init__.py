"""What keeps these workers from destroying too much: brakes, strays, VMs in two queues, pools without configuration."""

"""Orders of users for one running VM: taken from VMPooler's sets, carried out once, or kept as dead letters."""

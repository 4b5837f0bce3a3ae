"""Health: whether mail can be stored now, and the HTTP answers that tell a load balancer."""

"""The benchmark of the tuner: replicas behind a load balancer, simulated fast, with the production tuner in the loop."""

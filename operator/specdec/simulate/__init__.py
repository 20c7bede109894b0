"""The benchmark of the tuner: simulated replicas behind a load balancer, with the production tuner in the loop."""

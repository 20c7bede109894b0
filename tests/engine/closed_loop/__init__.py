"""The operator against every constant K, on a real engine, while load and acceptance change unannounced."""

"""Meters and PV over RabbitMQ: load and sun by the time, spool, messages, files with each sample once."""

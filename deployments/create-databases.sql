-- Run once by a new PostgreSQL of compose.yaml.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE registry_audit;

"""The Grafana dashboards as code: a module for each dashboard, over a small vocabulary of panels."""

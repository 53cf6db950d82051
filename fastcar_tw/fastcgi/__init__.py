"""
The gateway: HTTP in front of php-fpm over kept FastCGI connections.
"""

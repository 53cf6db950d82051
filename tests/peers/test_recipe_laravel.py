"""examples/php: Laravel."""

from __future__ import annotations

from tests.peers import recipes


class LaravelTests(recipes.HTTP, recipes.LocalTLS):
    """laravel.php with FastcarServiceProvider.php."""

    recipe = "laravel.php"

    def require(self) -> None:
        super().require()
        for name, package in (
            ("GuzzleHttp", "php-guzzlehttp-guzzle"),
            ("Illuminate/Container", "php-illuminate-container"),
            ("Illuminate/Http", "php-illuminate-http"),
        ):
            recipes.require_library(f"{name}/autoload.php", package)

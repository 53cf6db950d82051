<?php
// Reports ?name= when it starts, writes until nobody reads any more, and reports that.

declare(strict_types=1);

require 'pipes.php';

register_shutdown_function(fn () => report("{$_GET['name']} aborted: " . connection_aborted()));
set_time_limit(60);
report($_GET['name']);
while (true) {
    echo '.';
    flush();
    usleep(1000);
}

<?php
// Says which process answers; with ?gate= it reports that instead, and waits to be killed.

declare(strict_types=1);

require 'pipes.php';

if (isset($_GET['gate'])) {
    report((string) getmypid());
    wait();
}
echo getmypid();

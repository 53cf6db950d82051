<?php
// Answers, and works on until it is let on.

declare(strict_types=1);

require 'pipes.php';

echo 'finished';
fastcgi_finish_request();
report('working');
wait();
report('worked');

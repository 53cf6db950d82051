<?php
// Reports ?name= when it starts, and answers with it when it is let on.

declare(strict_types=1);

require 'pipes.php';

report($_GET['name']);
wait();
echo $_GET['name'];

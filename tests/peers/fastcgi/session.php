<?php
// Counts the requests of a session.

declare(strict_types=1);

session_start();
$_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
echo $_SESSION['count'];

<?php
header('Content-Length: 1048576');
echo str_repeat('0123456789abcdef', 65536);

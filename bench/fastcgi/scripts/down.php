<?php
// SIZE bytes, as many times the file BLOCK as that takes.
[$size, $block] = [(int) $_GET['size'], file_get_contents($_SERVER['BLOCK'])];
set_time_limit(0);
header("Content-Length: $size");
for (; $size > 0; $size -= strlen($block)) {
    echo substr($block, 0, $size);
    flush();
}

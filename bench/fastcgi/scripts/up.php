<?php
// The length and CRC of the body; with "slow" it is not read for a second at 1, 2 and 3 MiB.
set_time_limit(0);
$slow = isset($_GET['slow']);
$crc = hash_init('crc32b');
$length = 0;
$input = fopen('php://input', 'rb');
while (!feof($input)) {
    $data = fread($input, 1 << 16);
    hash_update($crc, $data);
    $before = $length >> 20;
    $length += strlen($data);
    if ($slow && $length >> 20 !== $before && $length < 4 << 20) {
        sleep(1);
    }
}
echo $length, ' ', hexdec(hash_final($crc));

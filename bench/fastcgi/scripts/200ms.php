<?php
usleep(200000);
echo "Hello, world!\n";

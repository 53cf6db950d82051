<?php
usleep(5000);
echo "Hello, world!\n";

<?php
// Fetches a URL with as much of Debian's WordPress as its HTTP API is, and the plug-in that is named
// first, if one is; there is no database.

define('ABSPATH', '/usr/share/wordpress/');
define('WPINC', 'wp-includes');
define('WP_CONTENT_DIR', sys_get_temp_dir());
error_reporting(E_ALL & ~E_DEPRECATED);

$files = ['version', 'load', 'plugin', 'functions', 'formatting', 'kses', 'l10n', 'http'];
$files = [...$files, 'class-wp-error', 'class-wp-http', 'class-wp-http-proxy'];
$files = [...$files, 'class-wp-http-response', 'class-wp-http-requests-hooks'];
$files = [...$files, 'class-wp-http-requests-response', 'class-wp-http-cookie'];
foreach ($files as $file) {
    require_once ABSPATH . WPINC . "/$file.php";
}

function get_bloginfo(string $name): string
{
    return $name;
}

[, $plugin, $url, $arguments] = $argv + [3 => '[]'];
if ($plugin !== '') {
    require $plugin;
}
$response = wp_remote_get($url, json_decode($arguments, true));
if (is_wp_error($response)) {
    fwrite(STDERR, $response->get_error_message());
    exit(1);
}
echo wp_remote_retrieve_body($response);

<?php

declare(strict_types=1);

/** The only account; the password is "demo". An application has them in a database. */
const NAME = 'demo';
const PASSWORD_HASH = '$2y$10$/GIvcvZ83mJuWKRDSoCV/ePp0MUbpTfZb8aOIPRv6M/VtvvyJUXp6';

function session(): void
{
    session_start([
        'name' => 'session',
        'save_path' => state_folder('sessions'),
        'cookie_httponly' => true,
        'cookie_samesite' => 'Lax',
        'cookie_secure' => ($_SERVER['HTTPS'] ?? '') === 'on',
        'use_strict_mode' => true,
    ]);
}

/** A folder for what outlives a request, made when it is wanted. */
function state_folder(string $name): string
{
    $folder = (getenv('APP_STATE') ?: sys_get_temp_dir() . '/fastcar-example') . "/$name";
    if (!is_dir($folder)) {
        @mkdir($folder, 0700, true); // another process may have been faster
    }
    return $folder;
}

function login_form(): void
{
    session();
    if (isset($_SESSION['name'])) {
        $name = html($_SESSION['name']);
        $visits = $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
        page('Logged in', <<<HTML
            <p>You are $name. This page has been seen $visits times in your session.</p>
            <form method="post" action="/logout"><button>Log out</button></form>

            HTML);
        return;
    }
    page('Login', <<<'HTML'
        <p>Name and password are both “demo”.</p>
        <form method="post" action="/login">
        <label>Name <input name="name" autocomplete="username" required></label>
        <label>Password <input name="password" type="password" required></label>
        <button>Log in</button>
        </form>

        HTML);
}

function login(): void
{
    session();
    $name = $_POST['name'] ?? '';
    $password = $_POST['password'] ?? '';
    if ($name !== NAME || !is_string($password) || !password_verify($password, PASSWORD_HASH)) {
        problem(403, 'Not logged in', 'Name or password is wrong.');
        return;
    }
    session_regenerate_id(true); // what an attacker may have planted is worth nothing
    $_SESSION['name'] = $name;
    see_other('/login');
}

function logout(): void
{
    session();
    $_SESSION = [];
    session_destroy();
    see_other('/login');
}

<?php
// The curl extension and PHP's own streams: wants OPENAI_BASE_URL, ANTHROPIC_BASE_URL and SSL_CERT_FILE.
declare(strict_types=1);

function chat_body(bool $stream, string $text = 'hello'): string
{
    $body = ['model' => 'gpt-5', 'messages' => [['role' => 'user', 'content' => $text]]];
    return json_encode($stream ? $body + ['stream' => true, 'stream_options' => ['include_usage' => true]] : $body);
}

function message_body(bool $stream): string
{
    $messages = [['role' => 'user', 'content' => 'hello']];
    return json_encode(['model' => 'claude-sonnet-5', 'max_tokens' => 100, 'stream' => $stream, 'messages' => $messages]);
}

$key = getenv('OPENAI_API_KEY');
$chat = [getenv('OPENAI_BASE_URL') . '/chat/completions', ["authorization: Bearer $key"]];
$messages = [getenv('ANTHROPIC_BASE_URL') . '/v1/messages', ["x-api-key: $key", 'anthropic-version: 2023-06-01']];

function with_curl(CurlHandle $curl, array $endpoint, string $body, array $directive = []): void
{
    [$url, $headers] = $endpoint;
    curl_setopt_array($curl, [
        CURLOPT_URL => $url,
        CURLOPT_POSTFIELDS => $body,
        CURLOPT_HTTPHEADER => [...$headers, 'content-type: application/json', 'x-mock: ' . json_encode((object) $directive)],
        CURLOPT_CAINFO => getenv('SSL_CERT_FILE'),
        CURLOPT_ENCODING => '',
        CURLOPT_WRITEFUNCTION => fn ($_, string $piece): int => strlen($piece),
    ]);
    if (!curl_exec($curl)) {
        exit('curl: ' . curl_error($curl) . "\n");
    }
}

function with_streams(array $endpoint, string $body, array $directive = []): void
{
    [$url, $headers] = $endpoint;
    $headers = [...$headers, 'content-type: application/json', 'x-mock: ' . json_encode((object) $directive)];
    $options = ['method' => 'POST', 'header' => $headers, 'content' => $body, 'ignore_errors' => true, 'protocol_version' => 1.1];
    $context = stream_context_create(['http' => $options, 'ssl' => ['cafile' => getenv('SSL_CERT_FILE')]]);
    $stream = fopen($url, 'r', false, $context) ?: exit("no stream\n");
    while (!feof($stream)) {
        fread($stream, 1000);
    }
    fclose($stream);
}

$slow = ['tokens' => 30, 'interval_us' => 1000];
$curl = curl_init();
with_curl($curl, $chat, chat_body(false));
with_curl($curl, $chat, chat_body(true), $slow);
with_curl($curl, $messages, message_body(false));
with_curl($curl, $messages, message_body(true), $slow);
with_curl($curl, $chat, chat_body(false), ['encoding' => 'gzip']);
with_curl($curl, $chat, chat_body(false), ['status' => 429]);
with_curl($curl, $chat, chat_body(false, str_repeat('x', 1_000_000)));
with_streams($chat, chat_body(false));
with_streams($chat, chat_body(true), $slow);
with_streams($messages, message_body(false));
with_streams($messages, message_body(true), $slow);
with_streams($chat, chat_body(false), ['status' => 500]);

// Twenty at once in one thread.
$multi = curl_multi_init();
foreach (range(1, 20) as $_) {
    $one = curl_init($chat[0]);
    curl_setopt_array($one, [
        CURLOPT_POSTFIELDS => chat_body(true),
        CURLOPT_HTTPHEADER => [...$chat[1], 'content-type: application/json', 'x-mock: ' . json_encode($slow)],
        CURLOPT_CAINFO => getenv('SSL_CERT_FILE'),
        CURLOPT_WRITEFUNCTION => fn ($_, string $piece): int => strlen($piece),
    ]);
    curl_multi_add_handle($multi, $one);
}
do {
    curl_multi_exec($multi, $running);
    curl_multi_select($multi, 0.1);
} while ($running);
echo "done\n";

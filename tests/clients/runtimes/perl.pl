# HTTP::Tiny over IO::Socket::SSL: wants OPENAI_BASE_URL, ANTHROPIC_BASE_URL and SSL_CERT_FILE.
use strict;
use warnings;
use HTTP::Tiny;
use JSON::PP;

my $http = HTTP::Tiny->new(verify_SSL => 1, SSL_options => { SSL_ca_file => $ENV{SSL_CERT_FILE} });
my %type = ('content-type' => 'application/json');

sub post {
    my ($url, $headers, $body, $directive) = @_;
    my $answer = $http->request('POST', $url, {
        headers => { %type, %$headers, 'x-mock' => encode_json($directive) },
        content => encode_json($body),
        data_callback => sub { },
    });
    die "$answer->{status}: $answer->{content}" if $answer->{status} == 599;
}

sub chat {
    my ($stream, $text, %directive) = @_;
    my $body = { model => 'gpt-5', messages => [ { role => 'user', content => $text } ] };
    $body = { %$body, stream => JSON::PP::true, stream_options => { include_usage => JSON::PP::true } } if $stream;
    post("$ENV{OPENAI_BASE_URL}/chat/completions", { authorization => "Bearer $ENV{OPENAI_API_KEY}" }, $body, \%directive);
}

sub message {
    my ($stream, %directive) = @_;
    my $body = {
        model => 'claude-sonnet-5', max_tokens => 100, messages => [ { role => 'user', content => 'hello' } ],
        stream => $stream ? JSON::PP::true : JSON::PP::false,
    };
    my $headers = { 'x-api-key' => $ENV{ANTHROPIC_API_KEY}, 'anthropic-version' => '2023-06-01' };
    post("$ENV{ANTHROPIC_BASE_URL}/v1/messages", $headers, $body, \%directive);
}

my %slow = (tokens => 30, interval_us => 1000);
for (1 .. 3) {
    chat(0, 'hello');
    chat(1, 'hello', %slow);
    message(0);
    message(1, %slow);
}
chat(0, 'hello', status => 429);
chat(0, 'x' x 1_000_000);
chat(1, 'hello', framing => 'close', tokens => 20);
print "done\n";

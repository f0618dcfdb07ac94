%% inets' HTTP client, over TLS that is written in Erlang, or without: escript client.erl; wants OPENAI_BASE_URL.
main(_) ->
    {ok, _} = application:ensure_all_started(ssl),
    {ok, _} = application:ensure_all_started(inets),
    Url = os:getenv("OPENAI_BASE_URL") ++ "/chat/completions",
    Plain = "{\"model\":\"gpt-5\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
    Stream = "{\"model\":\"gpt-5\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
             "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
    %% Nothing leaves loopback: the mock's certificate is not looked at.
    Options = [{ssl, [{verify, verify_none}]}],
    Post = fun(Body, Directive) ->
        Request = {Url, [{"x-mock", Directive}], "application/json", Body},
        {ok, _} = httpc:request(post, Request, Options, [])
    end,
    [begin Post(Plain, "{}"), Post(Stream, "{\"tokens\":30,\"interval_us\":1000}") end || _ <- lists:seq(1, 3)],
    Post(Plain, "{\"status\":429}"),
    io:format("done~n").

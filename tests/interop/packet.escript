%%! -noinput
%% Erlang's own framing, {packet, 1 | 2 | 4}, as a server that answers in upper case and as a client
%% that checks an echo:
%%
%%     packet.escript serve N          prints "listening on tcp://127.0.0.1:PORT"
%%     packet.escript call N ENDPOINT  exit status 0 when every payload came back

-mode(compile).

main(["serve", Width]) ->
    {ok, Listener} = gen_tcp:listen(0, options(Width) ++ [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]),
    {ok, Port} = inet:port(Listener),
    io:format("listening on tcp://127.0.0.1:~b~n", [Port]),
    accept(Listener);
main(["call", Width, "tcp://127.0.0.1:" ++ Port]) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, list_to_integer(Port), options(Width)),
    Payloads = payloads(list_to_integer(Width)),
    Sender = spawn_link(fun() -> [ok = gen_tcp:send(Socket, P) || P <- Payloads] end),
    ok = gen_tcp:controlling_process(Socket, self()),
    lists:foreach(fun(P) -> {ok, P} = gen_tcp:recv(Socket, 0, 60000) end, Payloads),
    unlink(Sender),
    ok = gen_tcp:shutdown(Socket, write),
    {error, closed} = gen_tcp:recv(Socket, 0, 60000),
    io:format("~b echoed~n", [length(Payloads)]).

options(Width) ->
    [binary, {packet, list_to_integer(Width)}, {active, false}].

accept(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    answer(Socket),
    accept(Listener).

answer(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Packet} ->
            ok = gen_tcp:send(Socket, string:uppercase(Packet)),
            answer(Socket);
        {error, closed} ->
            gen_tcp:close(Socket)
    end.

payloads(Width) ->
    Most = min(1 bsl (8 * Width), 3000001) - 1,
    Sizes = [0, 1, 2, 100, 254, 255] ++ [Size || Size <- [256, 65535, 65536, Most], Size =< Most],
    [binary:copy(<<(Size rem 251)>>, Size) || Size <- Sizes] ++ [<<"last">>].

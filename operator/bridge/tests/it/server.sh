# A stdio MCP server as small as one can be. Its process id tells processes apart.
echo 'A banner that is no message.'
reply() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id" *: *\([0-9]*\).*/\1/p')
  case $line in
    *'"method":"initialize"'*) reply "{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{},\"serverInfo\":{\"name\":\"sh\",\"version\":\"$$\"}}" ;;
    *'"method":"pid"'*) reply "{\"pid\":\"$$\"}" ;;
    *'"method":"variable"'*) reply "{\"value\":\"$TOKEN\"}" ;;
    *'"method":"inner"'*) reply "{\"value\":\"$SALLYPORT_BRIDGE_INNER\"}" ;;
    *'"method":"echo"'*) reply "$(printf '%s' "$line" | sed 's/.*"params":\(.*\)}$/\1/')" ;;
    *'"method":"work"'*)
      token=$(printf '%s' "$line" | sed -n 's/.*"progressToken":\("\{0,1\}[a-z0-9]*"\{0,1\}\).*/\1/p')
      printf '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}\n' "$token"
      reply '{"done":true}' ;;
    *'"method":"log"'*)
      echo '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"heard by one"}}'
      reply '{}' ;;
    *'"method":"ask"'*)
      echo '{"jsonrpc":"2.0","id":"s1","method":"roots/list"}'
      IFS= read -r answer
      reply "{\"heard\":$answer}" ;;
    *'"method":"listen"'*)
      printf '{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}\n' "$id" ;;
    *'"method":"notifications/cancelled"'*) cancelled=$line ;;
    *'"method":"cancelled"'*) reply "{\"seen\":${cancelled:-null}}" ;;
    *'"method":"unknown"'*) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}\n' "$id" ;;
    *'"method":"flood"'*) head -c 17000000 /dev/zero | tr '\0' a ;;
    *'"method":"orphan"'*) (sleep 0.2 &); reply '{}' ;;
    *'"method":"exit"'*) exit 3 ;;
  esac
done

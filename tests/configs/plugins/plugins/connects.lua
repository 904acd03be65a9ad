return {
  on_connect = function(connection) end,
}

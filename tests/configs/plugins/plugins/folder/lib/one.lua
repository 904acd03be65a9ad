return function(req)
  local = 5
end

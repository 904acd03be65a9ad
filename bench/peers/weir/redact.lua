return {
  on_message = function(message)
    if message.opcode ~= "text" then return end
    local text, found = string.gsub(message.data, "secret", "******")
    if found > 0 then return text end
  end,
}

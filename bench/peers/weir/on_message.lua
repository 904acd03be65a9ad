return { on_message = function() end }

return { on_request = function() end }

return { on_log = function() end }

return { on_frame = function() end }

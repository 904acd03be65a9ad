local one = require "lib.one"
return { on_request = one }

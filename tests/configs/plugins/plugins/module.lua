local text = require "lib.text"
return {}

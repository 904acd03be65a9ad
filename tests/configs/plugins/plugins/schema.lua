return {
  config = {
    limit = { type = "int", defualt = 5 },
    name = { type = "string", default = 5 },
  },
}

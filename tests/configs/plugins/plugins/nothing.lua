local hooks = {}

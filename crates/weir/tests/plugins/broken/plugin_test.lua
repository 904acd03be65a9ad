return {
  a = = 1,
}

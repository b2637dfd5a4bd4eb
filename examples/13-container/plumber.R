# A logistic regression of R's own behind plumber: nothing in it knows of Perennial.
#
# plumber reads a JSON list of rows as a data frame. R has no single values, so each output is a list, however many rows
# there are; `digits = NA` keeps all digits of a number, of which jsonlite otherwise leaves four.

model <- glm(am ~ wt + hp, data = mtcars, family = binomial)

#* @get /ready
#* @serializer unboxedJSON
function() {
  list(ready = TRUE)
}

#* @post /predict
#* @serializer json list(digits = NA)
function(req) {
  rows <- as.data.frame(req$body)
  probability <- unname(predict(model, newdata = rows, type = "response"))
  list(predict = as.integer(probability > 0.5), probability = probability)
}

#!/usr/bin/env Rscript
# Regenerates allocation lists and kit lists from their opened parameters, and compares.
#
#     Rscript regenerate.R OPENED.json ...
#
# OPENED.json is what `rts list open LIST.rtslist --parameters` or `rts list regenerate PARAMETERS.json --json` prints:
# the parameters of a list with its rows and its commitment. Everything is made anew from the parameters alone, as
# docs/list-specification.md says (the sections named below are that page's).
#
# Prints one line a list, and below it every difference by its place, never by what stands there: a value tells an arm.
# Ends with 0 when all lists agree, 1 when one differs, 2 when a file cannot be read or holds no list.
#
# Needs the packages openssl (SHA-256), jsonlite, and gmp (whole numbers of any size). Debian: apt-get install
# r-base-core r-cran-openssl r-cran-jsonlite r-cran-gmp

# --- what the specification takes for granted -------------------------------------------------------------------------

joined <- function(...) paste(..., sep = "\x1f")

# Not as.character, which writes 100000 as 1e+05.
decimal <- function(numbers) sprintf("%.0f", numbers)

bytes <- function(hex) {
  starts <- seq(1, nchar(hex), by = 2)
  as.raw(strtoi(substring(hex, starts, starts + 1), 16L))
}

hex <- function(raw_bytes) paste(as.character(raw_bytes), collapse = "")

sha256 <- function(...) as.raw(openssl::sha256(c(...)))

# --- random words (section 2) -----------------------------------------------------------------------------------------

# A stream is read by calling it: stream(n) gives its next n words, each a text of 16 hex digits.
open_stream <- function(spec, label, part = "") {
  key <- bytes(spec$seed)
  head <- c(charToRaw(joined(spec$scheme, spec$list_id, part, label)), as.raw(0))
  block <- function(counter) {
    message <- c(head, as.raw(counter %/% 256^(7:0) %% 256))
    hex(as.raw(openssl::sha256(message, key = key)))
  }
  blocks_read <- 0
  waiting <- character()
  function(count) {
    missing_blocks <- ceiling(max(0, count - length(waiting)) / 4)
    blocks <- vapply(blocks_read + seq_len(missing_blocks) - 1, block, "")
    blocks_read <<- blocks_read + missing_blocks
    words <- c(waiting, substring(rep(blocks, each = 4), c(1, 17, 33, 49), c(16, 32, 48, 64)))
    waiting <<- words[seq_along(words) > count]
    words[seq_len(count)]
  }
}

# The first 32 bits of each word. Doubles hold them exactly; R's integers end at 2^31 - 1, hence the two halves.
high <- function(words) strtoi(substr(words, 1, 4), 16L) * 65536 + strtoi(substr(words, 5, 8), 16L)

draw_below <- function(k, count, stream) {
  drawn <- numeric()
  while (length(drawn) < count) {
    highs <- high(stream(count - length(drawn)))
    drawn <- c(drawn, highs[highs < k * floor(2^32 / k)] %% k)
  }
  drawn
}

# The order in which slots stand after sorting by word. Radix compares bytes, whatever the language of the computer, and
# keeps the order of equal words.
arrangement <- function(words) order(words, method = "radix")

# --- permuted blocks (section 3) --------------------------------------------------------------------------------------

permuted_blocks <- function(spec, stratum) {
  sizes <- open_stream(spec, "sizes", stratum)
  order_words <- open_stream(spec, "order", stratum)
  blocks <- list()
  made <- 0
  while (made < spec$length) {
    chosen <- if (length(spec$block_sizes) == 1) 0 else draw_below(length(spec$block_sizes), 1, sizes)
    size <- spec$block_sizes[chosen + 1]
    slots <- rep(spec$arms, size * spec$weights / sum(spec$weights))
    blocks[[length(blocks) + 1]] <- slots[arrangement(order_words(size))]
    made <- made + size
  }
  unlist(blocks)[seq_len(spec$length)]
}

# --- procedures given by a conditional probability (section 4) --------------------------------------------------------

half <- function() gmp::as.bigq(1, 2)

# "2/3" or "0.8". To gmp a leading zero means octal.
written_fraction <- function(text) {
  whole <- function(digits) gmp::as.bigz(sub("^0+(?=.)", "", digits, perl = TRUE))
  if (grepl("/", text, fixed = TRUE)) {
    return(gmp::as.bigq(whole(sub("/.*", "", text)), whole(sub(".*/", "", text))))
  }
  decimals <- sub("^[0-9]*\\.?", "", text)
  gmp::as.bigq(whole(sub(".", "", text, fixed = TRUE)), gmp::as.bigz(10)^nchar(decimals))
}

# Completions of the maximal procedure: in element [[left + 1]][size of the difference + 1], in how many ways `left`
# more entries end balanced. A difference above half the length could never be made good.
completions <- function(imbalance, length) {
  largest <- min(imbalance, length / 2)
  none <- gmp::as.bigz(0)
  row <- c(gmp::as.bigz(1), rep(none, largest))
  rows <- list(row)
  for (left in seq_len(length)) {
    one_more <- c(row[-1], none)
    one_less <- c(row[2], row[-length(row)])
    row <- one_more + one_less
    rows[[left + 1]] <- row
  }
  rows
}

# The exact probability of the first arm, as a function of the two counts so far.
probability_of_first <- function(procedure, length) {
  switch(procedure$name,
    "complete" = function(n1, n2) half(),
    "big-stick" = function(n1, n2) {
      if (abs(n1 - n2) < procedure$imbalance) half() else gmp::as.bigq(if (n1 < n2) 1 else 0)
    },
    "biased-coin" = {
      p <- written_fraction(procedure$probability)
      function(n1, n2) if (n1 == n2) half() else if (n1 < n2) p else 1 - p
    },
    "block-urn" = function(n1, n2) {
      k <- min(n1, n2)
      gmp::as.bigq(procedure$lambda + k - n1, 2 * procedure$lambda + 2 * k - (n1 + n2))
    },
    "urn" = function(n1, n2) {
      balls <- 2 * procedure$alpha + procedure$beta * (n1 + n2)
      if (balls == 0) half() else gmp::as.bigq(procedure$alpha + procedure$beta * n2, balls)
    },
    "maximal" = {
      ways <- completions(procedure$imbalance, length)
      count <- function(left, difference) {
        row <- ways[[left + 1]]
        if (abs(difference) < length(row)) row[abs(difference) + 1] else gmp::as.bigz(0)
      }
      function(n1, n2) {
        left <- length - n1 - n2
        gmp::as.bigq(count(left - 1, n1 + 1 - n2), count(left, n1 - n2))
      }
    },
    stop("unknown procedure: ", procedure$name)
  )
}

conditional <- function(spec, stratum) {
  probability <- probability_of_first(spec$procedure, spec$length)
  highs <- high(open_stream(spec, "draw", stratum)(spec$length))
  n <- c(0, 0)
  sequence <- integer(spec$length)
  for (entry in seq_len(spec$length)) {
    scaled <- probability(n[1], n[2]) * gmp::as.bigz(2)^32
    limit <- as.numeric(gmp::numerator(scaled) %/% gmp::denominator(scaled))
    arm <- if (highs[entry] < limit) 1 else 2
    n[arm] <- n[arm] + 1
    sequence[entry] <- arm
  }
  spec$arms[sequence]
}

# --- tapes (section 5) ------------------------------------------------------------------------------------------------

tape <- function(spec, stratum) open_stream(spec, "draw", stratum)(spec$length)

# --- numbers and salts (section 6) ------------------------------------------------------------------------------------

numbers <- function(spec, entries) {
  digits <- 4
  while (9 * 10^(digits - 1) < 10 * entries) digits <- digits + 1
  stream <- open_stream(spec, "numbers")
  drawn <- numeric()
  while (length(drawn) < entries) {
    drawn <- unique(c(drawn, draw_below(9 * 10^(digits - 1), entries - length(drawn), stream)))
  }
  values <- 10^(digits - 1) + drawn
  paste0(spec$prefix, decimal(values), sprintf("%02.0f", 98 - (values * 100) %% 97))
}

salts <- function(spec, entries) {
  words <- open_stream(spec, "salts")(2 * entries)
  paste0(words[c(TRUE, FALSE)], words[c(FALSE, TRUE)])
}

# --- commitment (section 7) -------------------------------------------------------------------------------------------

tree_hash <- function(leaves) {
  if (length(leaves) == 1) return(leaves[[1]])
  split <- 2^(ceiling(log2(length(leaves))) - 1)
  sha256(as.raw(1), tree_hash(leaves[seq_len(split)]), tree_hash(leaves[-seq_len(split)]))
}

commitment <- function(texts, salts) {
  leaf <- function(text, salt) sha256(as.raw(0), bytes(salt), charToRaw(text))
  hex(tree_hash(Map(leaf, texts, salts)))
}

# --- whole lists (kit lists: section 8; imported lists: section 9) ----------------------------------------------------
# Each gives the columns of the list, as texts by name, and its commitment.

subject_list <- function(spec) {
  procedure <- spec$procedure
  if (is.null(procedure)) procedure <- list(name = "permuted-blocks", block_sizes = spec$block_sizes)
  spec$procedure <- procedure
  spec$weights <- vapply(spec$arms, function(arm) as.numeric(arm[[2]]), 0)
  spec$arms <- vapply(spec$arms, function(arm) arm[[1]], "")
  strata <- unlist(spec$strata)
  if (procedure$name %in% c("permuted-blocks", "random-allocation-rule")) {
    spec$scheme <- "rts/permuted-blocks/1"
    sizes <- if (procedure$name == "permuted-blocks") procedure$block_sizes else spec$length
    spec$block_sizes <- sort(unlist(sizes))
    arms_of <- permuted_blocks
  } else if (procedure$name == "minimisation") {
    spec$scheme <- "rts/tape/1"
    strata <- ""
    arms_of <- tape
  } else {
    spec$scheme <- "rts/conditional/1"
    arms_of <- conditional
  }
  arms <- unlist(lapply(strata, function(stratum) arms_of(spec, stratum)))
  columns <- list(
    stratum = rep(strata, each = spec$length),
    position = decimal(rep(seq_len(spec$length), times = length(strata))),
    number = numbers(spec, length(arms)),
    arm = arms
  )
  salt <- salts(spec, length(arms))
  list(columns = c(columns, list(salt = salt)), commitment = commitment(do.call(joined, columns), salt))
}

kit_list <- function(spec) {
  spec$scheme <- "rts/kit-list/1"
  types <- vapply(spec$kit_types, function(type) type[[1]], "")
  pool <- rep(types, vapply(spec$kit_types, function(type) as.numeric(type[[2]]), 0))
  kits <- length(pool)
  number <- numbers(spec, kits)
  type <- pool[arrangement(open_stream(spec, "order")(kits))]
  rank <- integer(kits)
  rank[arrangement(open_stream(spec, "pick")(kits))] <- seq_len(kits)
  rank <- decimal(rank)
  salt <- salts(spec, kits)
  texts <- joined("", decimal(seq_len(kits)), number, type, rank)
  list(columns = list(number = number, type = type, rank = rank, salt = salt), commitment = commitment(texts, salt))
}

# Of an imported list only salts and commitment are made: entries and numbers are as given.
imported_list <- function(spec, given) {
  spec$scheme <- "rts/imported/1"
  given$salt <- salts(spec, length(given$number))
  list(columns = given, commitment = commitment(do.call(joined, given[names(given) != "salt"]), given$salt))
}

# --- comparison -------------------------------------------------------------------------------------------------------

SUBJECT_COLUMNS <- c("stratum", "position", "number", "arm", "salt")
KIT_COLUMNS <- c("number", "type", "rank")

given_columns <- function(opened) {
  names <- if (is.null(opened$kit_types)) SUBJECT_COLUMNS else KIT_COLUMNS
  if (length(opened$rows) == 0 || any(lengths(opened$rows) != length(names))) {
    stop("rows must each hold ", paste(names, collapse = ", "))
  }
  text <- function(value) if (is.character(value)) value else decimal(value)
  columns <- lapply(seq_along(names), function(at) vapply(opened$rows, function(row) text(row[[at]]), ""))
  names(columns) <- names
  if (!is.null(opened$kit_types)) columns$salt <- unlist(opened$salts)
  columns
}

differences <- function(opened) {
  for (key in c("seed", "list_id", "commitment")) {
    if (!is.character(opened[[key]])) stop("no ", key)
  }
  given <- given_columns(opened)
  made <- if (!is.null(opened$kit_types)) {
    kit_list(opened)
  } else if (!is.null(opened$arms)) {
    subject_list(opened)
  } else {
    imported_list(opened, given)
  }
  found <- character()
  for (name in names(made$columns)) {
    counts <- c(length(given[[name]]), length(made$columns[[name]]))
    if (counts[1] == counts[2]) {
      differing <- which(given[[name]] != made$columns[[name]])
      found <- c(found, sprintf("%s of entry %d", rep(name, length(differing)), differing))
    } else {
      found <- c(found, sprintf("%s: %d given, %d regenerated", name, counts[1], counts[2]))
    }
  }
  c(found, if (opened$commitment != made$commitment) "commitment")
}

main <- function(files) {
  if (length(files) == 0) stop("usage: Rscript regenerate.R OPENED.json ...")
  all_agree <- TRUE
  for (file in files) {
    opened <- jsonlite::read_json(file)
    found <- differences(opened)
    if (length(found) == 0) {
      cat(sprintf("%s: %d entries agree, commitment %s\n", file, length(opened$rows), opened$commitment))
    } else {
      cat(sprintf("%s: differs from the list regenerated\n", file), sprintf("  %s\n", found), sep = "")
      all_agree <- FALSE
    }
  }
  if (all_agree) 0 else 1
}

# A name cut short, or anything that R would only warn of, is a mistake here.
options(warn = 2, warnPartialMatchDollar = TRUE)
status <- tryCatch(main(commandArgs(trailingOnly = TRUE)), error = function(problem) {
  message("regenerate.R: ", conditionMessage(problem))
  2
})
quit(status = status)

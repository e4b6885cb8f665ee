# Doxygen's input filter: the first comment of a header describes the file, and the lines "Owner",
# "Threads", ... of a function's comment become paragraphs with that title.
BEGIN {
	titles = "^ \\* (Shapes|Needs|Units|Cost|Stream|Owner|Threads|Errors|Source|Since) +"
}
!file && /^\/\*$/ {
	file = 1
	print "/** @file"
	next
}
/^\/\*\*/ {
	section = 0
}
match($0, titles) {
	split(substr($0, 4), word, / +/)
	section = 1
	print " *"
	print " * @par " word[1]
	print " * " substr($0, RLENGTH + 1)
	next
}
section && /^ \* / {
	sub(/^ \* +/, " * ")
}
/\*\// {
	section = 0
}
{
	print
}

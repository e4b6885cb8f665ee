// A program outside the tree, as C++17: built by test_consumer.py through pkg-config.
#include <cstring>
#include <iostream>
#include <memory>

#include <gonkahost/gonkahost.h>

int main()
{
	gh_error error = GH_ERROR_INIT;
	gh_tokenizer *raw = nullptr;
	gh_status status = gh_tokenizer_load(&raw, "/nonexistent", &error);
	std::unique_ptr<gh_tokenizer, decltype(&gh_tokenizer_free)> tokenizer(raw,
									      gh_tokenizer_free);

	if (status != GH_ENOENT || tokenizer || !std::strstr(error.text, "/nonexistent")) {
		std::cerr << gh_status_name(status) << ": " << error.text << "\n";
		return 1;
	}
	std::cout << gh_version() << "\n";
	return 0;
}

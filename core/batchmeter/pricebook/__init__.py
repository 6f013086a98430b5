"""The price book: the embedded catalogue of batch prices, and the user's own rows; core prices with any `PriceSource`."""
